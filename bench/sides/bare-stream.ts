// What Node alone takes for the same streams: `node bare-stream.ts STEP_MS WORDS` prints its address and answers every request with
// so many words as server-sent events, one every STEP_MS. It checks nothing and knows no lanes.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const [stepMs, words] = [Number(process.argv[2]), Number(process.argv[3])];
const chunk = (delta: object) =>
  `data: ${JSON.stringify({ id: "chatcmpl-1", model: "one", choices: [{ index: 0, delta }] })}\n\n`;
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (text: Buffer) => {
    body += text;
  });
  request.on("end", () => {
    JSON.parse(body);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(chunk({ role: "assistant", content: "" }));
    let told = 0;
    const timer = setInterval(() => {
      response.write(chunk({ content: `w${told++} ` }));
      if (told < words) return;
      clearInterval(timer);
      response.end("data: [DONE]\n\n");
    }, stepMs);
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.once("disconnect", () => process.exit());
