import { readFileSync, readdirSync } from "node:fs";
import { Engine } from "./src/engine/mod.ts";
import { LoraTraining } from "./src/adapt/mod.ts";
import { Runtime } from "./src/runtime/mod.ts";
import { onnxBytes, printGraph } from "./src/tensor/mod.ts";
import { locateIn } from "./src/engine/manifest.ts";
import { writeFileSync } from "node:fs";
const home="/work/tmp/benchhome";
const engine = await Engine.open({home,threads:2,spinning:true,now:()=>performance.now(),budgetBytes:()=>1e12});
const lease = await engine.lease(`file:${home}/bench/gpt2-124m`,{form:"f32",warm:false});
const model = await lease.inside();
const rt = await Runtime.open({threads:2,spinning:true});
const stored = await engine.store.find(`file:${home}/bench/gpt2-124m`);
const folder = engine.store.preparedFolder(stored!, "f32");
const anon=()=>Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status","utf8"))![1])/1024;
const hwm=()=>Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status","utf8"))![1])/1024;
let prog:any;
const timed = {...model, program: async (g:any)=>{ writeFileSync("/tmp/train-graph.txt",printGraph(g)); prog ??= {program:await rt.compile(onnxBytes(g,{locate:locateIn(lease.manifest)}),{weightsFolder:folder,prepack:false,optimization:(process.env.OPT??"off") as never,memoryPattern:false,...(process.env.NOPROF?{}:{profileTo:"/tmp/prof"})}),[Symbol.dispose]:()=>{}}; return prog; }};
const ids = Array.from({length:8},(_,r)=>Array.from({length:129},(_,i)=>((r*129+i)*7919+13)%50257));
const tr=LoraTraining.start(timed as never,{rank:8,alpha:16,targets:["c_attn"],rate:1e-4,schedule:"constant",warmup:0,epochs:1000,batch:8,weightDecay:.01,clip:Infinity,seed:0});
const it=tr.run(ids.map(ids=>({ids,learnFrom:1})));
const ts=[]; for(let i=0;i<4;i++){const t=performance.now(); await it.next(); ts.push((performance.now()-t).toFixed(0));}
console.log(ts.join(" "),"anon",anon().toFixed(0),"hwm",hwm().toFixed(0));
if(!process.env.NOPROF){
await prog.program[Symbol.asyncDispose]();
const f=readdirSync("/tmp").filter(x=>x.startsWith("prof")&&x.endsWith("json")).sort().at(-1);
const ev=JSON.parse(readFileSync("/tmp/"+f,"utf8"));
const by:Record<string,[number,number]>={};
for(const e of ev){ if(e.cat!=="Node"||!e.name.endsWith("_kernel_time"))continue; const k=e.args.op_name; by[k]??=[0,0]; by[k][0]+=e.dur/1000/4; by[k][1]+=1/4;}
for(const [k,[ms,n]] of Object.entries(by).sort((a,b)=>b[1][0]-a[1][0]).slice(0,20)) console.log(k.padEnd(24), ms.toFixed(1), n.toFixed(0));
}
process.exit(0);
