import { readFileSync } from "node:fs";
import { Engine } from "./src/engine/mod.ts";
import { Runtime } from "./src/runtime/mod.ts";
import { onnxBytes } from "./src/tensor/mod.ts";
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
const req = process.argv[2]==="all"? {ids}: {ids, only:[-1]};
const anon=()=>Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status","utf8"))![1])/1024;
const forms:[string,boolean][]=[["off",false],["basic",false],["extended",false],["all",false],["off",true],["all",true]];
const models:any[]=[];
for(const [opt,pre] of forms){
  let prog:any; const m={...model,program:async(g:any)=>{ if(!prog){const a=anon(),t=performance.now(); prog={program:await rt.compile(onnxBytes(g,{locate:locateIn(lease.manifest)}),{weightsFolder:folder,prepack:pre,optimization:opt as never,memoryPattern:false}),[Symbol.dispose]:()=>{}}; console.log(opt,pre,"compile",(performance.now()-t).toFixed(0),"ms anon +",(anon()-a).toFixed(0));} return prog;}};
  models.push(m);
}
const all:number[][]=forms.map(()=>[]);
for(let i=0;i<10;i++) for(const [j,m] of models.entries()){ const t=performance.now(); await trace(m,req as never); if(i>0) all[j]!.push(performance.now()-t); }
forms.forEach(([o,p],j)=>{const s=all[j]!.sort((a,b)=>a-b); console.log(o,p,"min",s[0]!.toFixed(0),"med",s[4]!.toFixed(0));});
process.exit(0);
