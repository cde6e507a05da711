"python mgddp.py RANK MINUTES BATCH OUT LR [START.raw.pt]: MaskGIT on two cores, averaged gradients"
import sys, time, math, copy, json, torch, torch.distributed as dist; torch.set_num_threads(1)
from pathlib import Path
from regionedit.pocket.maskgit import *
import regionedit.pocket.maskgit as M
from regionedit.pocket.training import *
from regionedit.pocket.compose import Composer
from regionedit.pocket.scenes import SEEDS
from regionedit.models.bundled import weights_folder
rank,minutes,B,out,LR=int(sys.argv[1]),float(sys.argv[2]),int(sys.argv[3]),sys.argv[4],float(sys.argv[5])
dist.init_process_group('gloo',init_method='tcp://127.0.0.1:29512',rank=rank,world_size=2)
root=Path('/work/t/mg'); start=weights_folder('maskgit')
r=MaskGitRecipe(root=root,batch_size=B,lr=LR)
x=root/f'r{rank}'; x.mkdir(exist_ok=True)
run=Run(r,x,start,'cpu')
if len(sys.argv)>6: run.model.load_state_dict(torch.load(sys.argv[6]))
book=r.vq.quantize.embedding.weight
V=Composer(SEEDS['validation'].start+9000); torch.manual_seed(5)
with torch.no_grad(): vb=[r.batch(V,32) for _ in range(4)]
with torch.no_grad():
    t=torch.cat([soft_targets(b['latents'].movedim(1,-1)[b['cells']][:600],book) for b in vb]); 
    if rank==0: print('entropy of soft targets',-(t*t.clamp(min=1e-30).log()).sum(1).mean().item(),flush=True)
run.model.get_submodule('transformer').compile(dynamic=False)
run.model.train(); ps=run.trainable; ema=[p.detach().clone() for p in ps]
def swap():
    for p,e in zip(ps,ema): k=p.detach().clone(); p.data.copy_(e); e.copy_(k)
@torch.no_grad()
def val():
    torch.manual_seed(7)
    with fast_attention(), half_precision('cpu'): return sum(M.hidden_loss(run.model,b,book).item() for b in vb)/4
def save(): torch.save({k:v for k,v in run.model.state_dict().items()},out+'.raw.pt')
T=minutes*60; step=0; ls=[]; t0=last=lastj=time.time(); b=None
with no_denormals():
    while True:
        done=torch.tensor([(time.time()-t0)/T]) if rank==0 else torch.zeros(1)
        dist.broadcast(done,0); done=done.item()
        if done>=1: break
        seed=SEEDS['train'].start+20_000_000+2*step+rank+(500_000 if len(sys.argv)>6 else 0); torch.manual_seed(seed)
        if step%2==0:
            run.world.g.manual_seed(seed)
            with torch.no_grad(): b=r.batch(run.world,B)
        for g in run.optimizer.param_groups: g['lr']=LR*min(1,step/100+.01)*.5*(1+math.cos(math.pi*done))
        with fast_attention(), half_precision('cpu'): loss=M.hidden_loss(run.model,b,book)
        run.optimizer.zero_grad(); loss.backward()
        flat=torch.cat([p.grad.flatten() for p in ps]).bfloat16(); dist.all_reduce(flat); flat=flat.float()/2
        flat*=min(1,1/(flat.norm().item()+1e-6)); i=0
        for p in ps: p.grad.copy_(flat[i:i+p.numel()].view_as(p)); i+=p.numel()
        run.optimizer.step(); step+=1; ls.append(loss.item()); d=min(.9985,step/(step+10))
        torch._foreach_lerp_(ema,[p.data for p in ps],1-d)
        if rank==0 and step%100==0: print(step,'loss %.3f'%(sum(ls)/len(ls)),'%.0fs'%(time.time()-t0),flush=True); ls=[]
        if rank==0 and time.time()-last>240:
            swap(); print(step,'VAL %.4f'%val(),flush=True); save()
            if time.time()-lastj>1000:
                lastj=time.time()
                run.model.eval()
                with torch.compiler.set_stance('force_eager'): print(step,r.evaluate(run.model),flush=True)
                run.model.train()
            swap(); last=time.time()
if rank==0:
    swap(); print(step,'VAL %.4f'%val(),flush=True); save(); run.model.eval()
    with torch.compiler.set_stance('force_eager'):
        print('full',r.evaluate(run.model),flush=True)
        w=Path(out+'_weights'); w.mkdir(exist_ok=True); r.save(run.model,w); print('saved',w,flush=True)
    json.dump(dict(steps=step,seconds=time.time()-t0),open(out+'.json','w'))
