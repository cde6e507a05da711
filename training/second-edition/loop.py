import json, math, os, time, torch
from pathlib import Path
from torch import nn
from safetensors.torch import save_file, load_file
from safetensors import safe_open
from contextlib import contextmanager
@contextmanager
def fast():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    with sdpa_kernel(SDPBackend.MATH), torch.autocast('cpu', torch.bfloat16): yield
def fit(name, model, step, total, minutes, lr=1e-3, wd=.01, betas=(.9, .98), ema_decay=.999, log=20, evaluate=None, eval_every=300, amp=True, clip=1.):
    "step(model, progress, i) -> loss. Progress by steps/total. Resumes from NAME.ckpt."
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=lr, betas=betas, weight_decay=wd, fused=True)
    ema = {k: v.detach().clone() for k, v in model.state_dict().items()}; i = 0; secs = 0.
    ck = Path(f'{name}.ckpt')
    if ck.exists():
        t = load_file(ck); model.load_state_dict({k[2:]: v for k, v in t.items() if k.startswith('m.')}); ema = {k[2:]: v for k, v in t.items() if k.startswith('e.')}
        st = {}
        for k, v in t.items():
            if k.startswith('o.'): _, n, q = k.split('.', 2); st.setdefault(int(n), {})[q] = v
        opt.load_state_dict(dict(opt.state_dict(), state=st))
        with safe_open(ck, 'pt') as f: s = json.loads(f.metadata()['s']); i, secs = s['i'], s['secs']
    def save():
        t = {f'm.{k}': v for k, v in model.state_dict().items()} | {f'e.{k}': v for k, v in ema.items()}
        for n, s in opt.state_dict()['state'].items(): t |= {f'o.{n}.{k}': torch.as_tensor(v) for k, v in s.items()}
        save_file({k: v.detach().clone().contiguous() for k, v in t.items()}, f'{name}.partial', metadata=dict(s=json.dumps(dict(i=i, secs=secs)))); os.replace(f'{name}.partial', ck)
    def with_ema(f):
        keep = {k: v.clone() for k, v in model.state_dict().items()}; model.load_state_dict(ema); model.eval()
        with torch.no_grad(): r = f(model, i)
        model.load_state_dict(keep); model.train(); return r
    t0 = time.time(); start = time.time(); losses = []; last = time.time(); ev = time.time(); sv = time.time(); lasti = i
    model.train()
    out = open(f'{name}.log', 'a')
    while i < total and time.time() - start < minutes * 60:
        p = i / total
        for g in opt.param_groups: g['lr'] = lr * min(1, p / .02 + 1e-3) * .5 * (1 + math.cos(math.pi * min(p, 1)))
        if amp:
            with fast(): loss = step(model, p, i)
        else: loss = step(model, p, i)
        opt.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(params, clip); opt.step(); i += 1
        d = min(ema_decay, (1 + i) / (10 + i))
        with torch.no_grad():
            for k, v in model.state_dict().items():
                if v.is_floating_point(): ema[k].lerp_(v, 1 - d)
                else: ema[k].copy_(v)
        losses.append(loss.item()); now = time.time(); secs += now - t0; t0 = now
        if now - last > log:
            out.write(json.dumps(dict(i=i, secs=round(secs), loss=round(sum(losses) / len(losses), 4), rate=round((i - lasti) / (now - last), 2))) + '\n'); out.flush(); losses = []; last = now; lasti = i
        if evaluate and now - ev > eval_every: out.write(json.dumps(dict(i=i, secs=round(secs), **with_ema(evaluate))) + '\n'); out.flush(); ev = time.time(); t0 = time.time()
        if now - sv > 90: save(); sv = time.time()
    save()
    if evaluate: out.write(json.dumps(dict(i=i, secs=round(secs), **with_ema(evaluate))) + '\n'); out.flush()
    model.load_state_dict(ema); model.eval(); return model
