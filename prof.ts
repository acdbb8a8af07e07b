import { readFileSync, readdirSync } from "node:fs";
import { Engine } from "./src/engine/mod.ts";
import { Runtime } from "./src/runtime/mod.ts";
import { onnxBytes, printGraph } from "./src/tensor/mod.ts";
import { locateIn } from "./src/engine/manifest.ts";
import { trace } from "./src/engine/trace.ts";
const home="/work/tmp/benchhome";
const engine = await Engine.open({home,threads:2,spinning:true,now:()=>performance.now(),budgetBytes:()=>1e12});
const lease = await engine.lease(`file:${home}/bench/gpt2-124m`,{form:"f32",warm:false});
const model = await lease.inside();
const rt = await Runtime.open({threads:2,spinning:true});
const stored = await engine.store.find(`file:${home}/bench/gpt2-124m`);
const folder = engine.store.preparedFolder(stored!, "f32");
const ids = Array.from({length:16},(_,r)=>Array.from({length:32},(_,i)=>((r*32+i)*7919+13)%50257));
const req = process.argv[2]==="all"? {ids}: process.argv[2]==="cap" ? {ids, capture:["hook_{embed,pos_embed}","blocks.*.hook_{resid_pre,attn_out,resid_mid,mlp_out,resid_post}","blocks.*.ln{1,2}.hook_*","blocks.*.attn.hook_{q,k,v,attn_scores,pattern,z}","blocks.*.mlp.hook_*","ln_final.hook_*"]}: process.argv[2]==="lossgrad"? {ids, gradients:true, outputs:[]} : {ids, only:[-1]};
const timed = {...model, program: async (g:any)=>{ const p = await rt.compile(onnxBytes(g,{locate:locateIn(lease.manifest)}),{weightsFolder:folder,prepack:process.env.PRE==="1",optimization:(process.env.OPT??"off") as never,memoryPattern:false,...(process.env.NOPROF?{}:{profileTo:"/tmp/prof"})}); return {program:p,[Symbol.dispose]:()=>{}}; }};
let prog:any; const keep={...timed, program: async(g:any)=>{ prog ??= await timed.program(g); return prog; }};
const ts:number[]=[]; for(let i=0;i<6;i++){const t=performance.now(); await trace(keep as never, req as never); ts.push(performance.now()-t);}
console.log(ts.map(x=>x.toFixed(0)).join(" "));
await prog.program[Symbol.asyncDispose]();
if(!process.env.NOPROF){
const f=readdirSync("/tmp").filter(x=>x.startsWith("prof")).sort().at(-1);
const ev=JSON.parse(readFileSync("/tmp/"+f,"utf8"));
const by:Record<string,[number,number]>={};
for(const e of ev){ if(e.cat!=="Node"||!e.name.endsWith("_kernel_time"))continue; const k=e.args.op_name; by[k]??=[0,0]; by[k][0]+=e.dur/1000/6; by[k][1]+=1/6;}
for(const [k,[ms,n]] of Object.entries(by).sort((a,b)=>b[1][0]-a[1][0]).slice(0,14)) console.log(k.padEnd(24), ms.toFixed(1), n.toFixed(0));
}
process.exit(0);
