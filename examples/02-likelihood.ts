// Which sentence does the model find more likely? Scores are negative log likelihoods in nats.
import { openEngine } from "irori";

await using engine = await openEngine();
await using lease = await engine.lease("smollm2-135m", { form: "f32" });
for (const text of ["The capital of France is Paris.", "The capital of France is Berlin."]) {
  const { meanNll, perplexity } = await lease.score(lease.tokenize(text));
  console.log(`${meanNll.toFixed(3)} nats a token, perplexity ${perplexity.toFixed(1)}: ${text}`);
}
