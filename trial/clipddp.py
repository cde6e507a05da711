import sys, os, torch, numpy as np, time, math, copy; torch.set_num_threads(1)
from torch import nn
import torch.nn.functional as F, torch.distributed as dist
from regionedit.pocket.clip import *
from regionedit.pocket.clip import in_other_light
from regionedit.pocket.compose import Composer, cut_boxes
from regionedit.pocket.scenes import CONCEPTS, SEEDS, article, HELD_OUT_STYLE, drawn_in
from regionedit.models.pretrained import load_clip
from regionedit.models.bundled import weights_folder
from regionedit.pocket.training import fast_attention, no_denormals
from transformers import CLIPTokenizer
rank, minutes, small, B, out, start = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6]
LR=float(sys.argv[7]) if len(sys.argv)>7 else 1e-3
dist.init_process_group('gloo',init_method='tcp://127.0.0.1:29513',rank=rank,world_size=int(os.environ.get('WORLD','2')))
torch.set_flush_denormal(True)
torch.manual_seed(0)
tk=CLIPTokenizer.from_pretrained(weights_folder('clip'))
class NormedPool(nn.Module):
    "attention pooling after a batch normalisation without parameters of its own; the class token alone asks"
    def __init__(s, pool, fresh):
        super().__init__(); s.pool=pool; s.norm=nn.BatchNorm1d(1024,affine=False,momentum=.05)
        if fresh:
            for l in (pool.q_proj,pool.k_proj,pool.v_proj,pool.c_proj): l.reset_parameters()
            pool.q_proj.weight.data*=.3; pool.k_proj.weight.data*=.3
            nn.init.normal_(pool.positional_embedding,std=.1)
    def forward(s,x):
        p=s.pool; side=round((len(p.positional_embedding)-1)**.5)
        if x.shape[-1]!=side: x=F.interpolate(x,(side,side),mode='nearest')
        x=s.norm(x.flatten(2).float()).transpose(1,2)
        x=torch.cat([x.mean(1,keepdim=True),x],1)+p.positional_embedding
        h=p.num_heads; d=1024//h
        q=p.q_proj(x[:,0]).view(-1,h,d)
        qk=torch.einsum('nhd,hdc->nhc',q,p.k_proj.weight.view(h,d,1024))
        a=(torch.einsum('nhc,ntc->nht',qk,x)).float()*d**-.5
        xs=torch.einsum('nht,ntc->nhc',a.softmax(-1),x)
        v=torch.einsum('nhc,hdc->nhd',xs,p.v_proj.weight.view(h,d,1024)).flatten(1)+p.v_proj.bias
        return p.c_proj(v)
    @torch.no_grad()
    def folded(s):
        p=copy.deepcopy(s.pool); sd=(s.norm.running_var+s.norm.eps).sqrt(); mu=s.norm.running_mean
        p.positional_embedding.data*=sd
        for k in 'qkv':
            l=getattr(p,k+'_proj'); l.weight.data=l.weight/sd; l.bias.data=l.bias-l.weight@mu
        return p
m=build_clip(len(tk))
if start!='new':
    from safetensors.torch import load_file
    m.load_state_dict(load_file(weights_folder('clip')/'open_clip_model.safetensors'),strict=False)
m.visual.attnpool=NormedPool(m.visual.attnpool,True)
m.logit_scale.data.fill_(math.log(25.))
if os.path.isfile(start): m.load_state_dict(torch.load(start))
m.train()
params=[p for k,p in m.named_parameters() if not k.endswith('k_proj.bias')]
# where the text tower and pooling may move faster than the trunk
opt=torch.optim.AdamW([dict(params=[p for p in params if p.ndim>1],weight_decay=.05),dict(params=[p for p in params if p.ndim<=1],weight_decay=0.)],lr=LR,betas=(.9,.98),fused=True)
ema=copy.deepcopy(m.state_dict())
w=Composer(); T=minutes*60; t0=time.time(); step=0; ls=[]
def blurred(px, sigma):
    r=max(1,int(2.5*sigma)); k=torch.exp(-torch.arange(-r,r+1)**2/(2*sigma**2)); k=(k/k.sum()).to(px)
    c=px.shape[1]; px=F.pad(px,(r,r,r,r),mode='reflect')
    px=F.conv2d(px,k.view(1,1,1,-1).expand(c,1,1,-1),groups=c)
    return F.conv2d(px,k.view(1,1,-1,1).expand(c,1,-1,1),groups=c)
def wobbled(px, most):
    n,side=len(px),px.shape[-1]; a=w.rand(0,most,n,1,1,1)
    f=sum(F.interpolate(torch.randn(n,2,k,k,generator=w.g)*a*q,(side,side),mode='bicubic',align_corners=True) for k,q in ((4,1.),(9,.45)))
    y=torch.linspace(-1,1,side); base=torch.stack([y[None].expand(side,-1),y[:,None].expand(-1,side)],-1)
    return F.grid_sample(px,base+f.permute(0,2,3,1),padding_mode='reflection',align_corners=True)
def reworked(px, share):
    "as a painter might have drawn them: lines out of place, soft, patches missing, other colours"
    n,side=len(px),px.shape[-1]; i=w.chance(share,n).nonzero().flatten()
    if not len(i): return px
    q=wobbled(px[i],.11)
    parts=[]
    for part in q.chunk(4): 
        sg=w.rand(.0,2.4,1).item()*side/128
        parts.append(blurred(part,sg) if sg>.3 else part)
    q=torch.cat(parts); m=len(q)
    # some lost patches: mixed with a strongly blurred copy under a smooth random mask
    soft=F.interpolate(F.interpolate(q,(7,7),mode='area'),(side,side),mode='bicubic')
    mask=F.interpolate(torch.rand(m,1,5,5,generator=w.g),(side,side),mode='bicubic')
    mask=((mask-.72)*8).clamp(0,1)*w.chance(.5,m,1,1,1)
    q=q*(1-mask)+soft*mask
    # saturation, contrast, and colours turned a little
    g=q.mean(1,keepdim=True); q=g+(q-g)*w.rand(.5,1.5,m,1,1,1); mean=q.mean((2,3),keepdim=True); q=mean+(q-mean)*w.rand(.6,1.3,m,1,1,1)
    turn=torch.eye(3)+.12*torch.randn(m,3,3,generator=w.g); turn=turn/turn.sum(2,keepdim=True).clamp(min=.5)
    q=torch.where(w.chance(.4,m,1,1,1),torch.einsum('nij,njhw->nihw',turn,q),q)
    px=px.clone(); px[i]=q.clamp(0,1); return px
def pics(rng,count,side):
    a,b,c,d=(int(count*s) for s in (.4,.2,.12,.05)); px,tx,sh=[],[],[]
    for n,k in ((a,dict(canvas=64)),(b,dict(canvas=side,wear=False))):
        p,c_=w.near(n,side,**k); px.append(reworked(p,.65)); sh+=[[i] for i in c_.tolist()]
        tx+=[said_of(rng,[w.sprites.concepts[i]],[(0,0,48,48)],'') for i in c_.tolist()]
    for things,n in ((1,count-a-b-c-d),(2,c),(3,d)):
        p,cs,bx,said=w.scenes(n,things,size=(side,side)); px.append(reworked(p,.2)); sh+=cs.tolist()
        tx+=[said_of(rng,[w.sprites.concepts[i] for i in q],x,pl) for q,x,pl in zip(cs.tolist(),(bx*128/side).tolist(),said)]
    return torch.cat(px),tx,sh
V=Composer(SEEDS['validation'].start+7000); vp,vc,vb,_=V.scenes(300); vn=[V.sprites.concepts[c] for c in vc[:,0].tolist()]; vbx=cut_boxes(vp,vb[:,0],128)
import pickle
from PIL import Image
_rows=pickle.load(open('/work/t/dcrops.pkl','rb'))
_pc=torch.stack([torch.from_numpy(np.array(r[2].convert('RGB').resize((128,128),Image.BICUBIC))).permute(2,0,1).float()/255 for r in _rows]); _pn=[r[0] for r in _rows]
_U=Composer(SEEDS['validation'].start+7000,concepts=[c for c in CONCEPTS if c in drawn_in(HELD_OUT_STYLE)],styles=(HELD_OUT_STYLE,)); _up,_uc,_ub,_=_U.scenes(300); _un=[_U.sprites.concepts[c] for c in _uc[:,0].tolist()]; _ux=cut_boxes(_up,_ub[:,0],128)
@torch.no_grad()
def judge():
    keep=copy.deepcopy(m.state_dict()); m.load_state_dict(ema); m.eval()
    t=encode_text(m,tk([article(c) for c in CONCEPTS],padding=True,return_tensors='pt').input_ids).float(); r={}
    for k,p in dict(box=vbx,box64=F.avg_pool2d(vbx,2),scene=vp).items():
        with torch.autocast('cpu',torch.bfloat16): f=torch.cat([m.encode_image(q,normalize=True).float() for q in (p*2-1).contiguous(memory_format=torch.channels_last).split(100)])
        r[k]=round(np.mean([CONCEPTS[i]==n for i,n in zip((f@t.T).argmax(1).tolist(),vn)]),3)
    for k,p,names in (('painted',_pc,_pn),('unseen',_ux,_un)):
        with torch.autocast('cpu',torch.bfloat16): f=torch.cat([m.encode_image(q,normalize=True).float() for q in (p*2-1).contiguous(memory_format=torch.channels_last).split(100)])
        r[k]=round(np.mean([CONCEPTS[i]==n for i,n in zip((f@t.T).argmax(1).tolist(),names)]),3)
    s=t@t.T-2*torch.eye(len(t)); r['crowd']=round(s.max(1).values.mean().item(),3)
    m.load_state_dict(keep); m.train(); return r
def save():
    p=copy.deepcopy(m); p.load_state_dict(ema); torch.save(p.state_dict(),out+'.raw.pt')
last=time.time()
while True:
    done=torch.tensor((time.time()-t0)/T) if rank==0 else torch.tensor(0.)
    dist.broadcast(done,0); done=done.item()
    if done>=1: break
    seed=60_000_000+2*step+rank+int(hash(out)%1000*0)+(0 if not os.path.isfile(start) else 9_000_000); w.g.manual_seed(seed); torch.manual_seed(seed); rng=np.random.default_rng(seed)
    side=64 if done<small else 128
    b=B if side==64 else B//2
    with torch.no_grad(): p,tx,sh=pics(rng,b,side); p=in_other_light(w,p)
    distinct=list(dict.fromkeys(tx))
    tok,names=(tk(t,padding=True,truncation=True,max_length=64,return_tensors='pt').input_ids for t in (distinct,bank_of_names(np.random.default_rng(step))))
    for g in opt.param_groups: g['lr']=LR*min(1,step/80)*.5*(1+math.cos(math.pi*done))
    with fast_attention(), torch.autocast('cpu',torch.bfloat16):
        f=m.encode_image(p,normalize=True); s=m.logit_scale.exp().clamp(max=100)
        N=encode_text(m,names); Tx=encode_texts(m,tok)
        loss=contrastive_loss(f,Tx,torch.tensor([distinct.index(t) for t in tx]),s)+F.cross_entropy(s*f.float()@N.float().T,shares(sh))
    opt.zero_grad(); loss.backward()
    flat=torch.cat([q.grad.flatten() for q in params]); (dist.all_reduce(flat), flat.div_(2)) if dist.get_world_size()>1 else None; flat*=min(1,1/(flat.norm().item()+1e-6)); i=0
    for q in params: q.grad.copy_(flat[i:i+q.numel()].view_as(q)); i+=q.numel()
    opt.step(); step+=1; ls.append(loss.item()); d=min(.998,step/(step+10))
    for k,v in m.state_dict().items():
        if v.is_floating_point(): ema[k].lerp_(v,1-d)
        else: ema[k].copy_(v)
    if rank==0 and step%50==0: print(step,side,'loss %.3f scale %.1f %.0fs'%(np.mean(ls),s.item(),time.time()-t0),flush=True); ls=[]
    if rank==0 and time.time()-last>150: last=time.time(); print(judge(),flush=True); save()
if rank==0: 
    print('end',step,judge(),flush=True); save()
    p=copy.deepcopy(m); p.load_state_dict(ema); p.visual.attnpool=p.visual.attnpool.folded(); p.eval(); torch.save(p.state_dict(),out+'.pt')
    from pathlib import Path; o=Path(out); o.mkdir(exist_ok=True); write_clip(p,len(tk),o)
    import shutil; [shutil.copy(f_,o) for f_ in weights_folder('clip').iterdir() if f_.is_file() and not (o/f_.name).exists()]
    print('full',zero_shot_figures(p,tk),flush=True); print('stored',zero_shot_figures(load_clip(o).model,tk),flush=True)
