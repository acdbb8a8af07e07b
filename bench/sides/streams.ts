// Reads so many streamed answers at once: `node streams.ts URL COUNT WORDS` prints, as JSON, the milliseconds to the first word of
// each and between its words. Fails where one ends without its last record.
import { Agent, request } from "node:http";

const [url, count, words] = [process.argv[2] as string, Number(process.argv[3]), Number(process.argv[4])];
const agent = new Agent({ keepAlive: true, maxSockets: count });
const firstMs: number[] = [];
const gapsMs: number[] = [];

const read = () =>
  new Promise<void>((resolve, reject) => {
    const start = performance.now();
    const options = { agent, method: "POST", headers: { "content-type": "application/json" } };
    const asked = request(`${url}/v1/chat/completions`, options, (response) => {
      let [last, tail] = [0, ""];
      response.setEncoding("latin1");
      response.on("data", (text: string) => {
        const now = performance.now();
        if (text.includes('"content":"') && !text.includes('"content":""')) {
          if (last === 0) firstMs.push(now - start);
          else gapsMs.push(now - last);
          last = now;
        }
        tail = (tail + text).slice(-40);
      });
      response.on("error", reject);
      response.on("end", () =>
        tail.endsWith("data: [DONE]\n\n") ? resolve() : reject(new Error(`${response.statusCode}, cut short: ${tail}`)),
      );
    });
    asked.on("error", reject);
    const messages = [{ role: "user", content: "Hi" }];
    asked.end(JSON.stringify({ model: "one", messages, max_tokens: words, stream: true }));
  });
await Promise.all(Array.from({ length: count }, read));
agent.destroy();
process.stdout.write(JSON.stringify({ firstMs, gapsMs }));
