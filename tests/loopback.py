"A hub on 127.0.0.1 that answers what huggingface_hub asks, as the real one does."
import hashlib, json, shutil, socket, tempfile, threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = 5_000       # bytes; the hub keeps larger files elsewhere and answers with a redirection
UNWANTED = {name: b'nobody fetches this' for name in (
    '.gitattributes', 'README.md', 'pytorch_model.bin', 'model.ckpt', 'tf_model.h5', 'v1-5-pruned.safetensors',
    'flax_model.msgpack', 'images/example.png', 'onnx/model.onnx')}
UNWANTED_EDITOR = {name: b'nor this' for name in (
    'unet/diffusion_pytorch_model.bin', 'unet/diffusion_pytorch_model.non_ema.safetensors', 'unet/model.onnx',
    'transformer/diffusion_pytorch_model.bin', 'text_encoder/pytorch_model.bin', 'vae/diffusion_pytorch_model.bin')}
CHECKER = {name: b'nor this' for name in (      # of Stable Diffusion 1 and 2
    'safety_checker/config.json', 'safety_checker/model.safetensors', 'safety_checker/model.fp16.safetensors',
    'feature_extractor/preprocessor_config.json')}

@dataclass
class Repo:
    "What lies under one name."
    files: dict                                     # path -> bytes
    sha: str = 'c' * 40
    gated: bool = False
    asked: list = field(default_factory=list)       # 'GET unet/config.json'

    def etag(self, path: str) -> str: return hashlib.sha256(self.files[path]).hexdigest()

class Hub:
    "Repositories by name, and what was asked of them."
    def __init__(self): self.repos, self.down = {}, False

    def publish(self, card, write, **changes) -> Repo:
        "Put a checkpoint that `write` makes under a card's name, with the files that a real repository has beside it."
        folder = Path(tempfile.mkdtemp())
        write(folder)
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}
        shutil.rmtree(folder)
        beside = UNWANTED | (UNWANTED_EDITOR if card.kind == 'editor' else {})
        if b'"StableDiffusionInpaintPipeline"' in files.get('model_index.json', b''): beside |= CHECKER
        sha = card.revision if len(card.revision) == 40 else 'c' * 40
        self.repos[card.repo] = Repo(beside | files, **dict(sha=sha) | changes)
        return self.repos[card.repo]

    def asked(self) -> list:
        "Paths of the files that were fetched, from all repositories."
        return [path for repo in self.repos.values() for path in repo.asked]

    def forget(self):
        for repo in self.repos.values(): repo.asked.clear()

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def do_HEAD(self): self.answer()
    def do_GET(self): self.answer()

    def send(self, status: int, body: bytes = b'', **headers):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command == 'GET': self.wfile.write(body)

    def refuse(self, status: int, code: str, **headers):
        self.send(status, json.dumps(dict(error=code)).encode(), X_Error_Code=code, X_Error_Message=code, **headers)

    def answer(self):
        hub, path = self.server.hub, unquote(urlsplit(self.path).path).strip('/')
        path = path.removeprefix('mirror/')         # a mirror may live below a path
        parts, api = path.split('/'), path.startswith('api/models/')
        if hub.down: return self.refuse(418, 'Down')     # at 503 the client tries again for a while
        name = '/'.join(parts[2:4] if api else parts[1:3] if parts[0] == 'large' else parts[:2])
        repo = hub.repos.get(name)
        if not repo: return self.refuse(401, 'RepoNotFound')
        rest = parts[4:] if api else parts[3:] if parts[0] == 'large' else parts[2:]
        if parts[0] != 'large' and len(rest) > 1 and rest[1] not in ('main', repo.sha):
            return self.refuse(404, 'RevisionNotFound')
        if api: return self.describe(name, repo, rest)
        if parts[0] == 'large': return self.file(name, repo, '/'.join(rest), 'large')
        self.file(name, repo, '/'.join(rest[2:]), rest[0])

    def describe(self, name: str, repo: Repo, rest: list):
        "Model information, or the tree of a revision."
        told = dict(_id='1', id=name, modelId=name, sha=repo.sha, private=False, gated=repo.gated, tags=[],
                    downloads=1, likes=0, siblings=[dict(rfilename=path) for path in repo.files])
        if rest[:1] == ['tree']: told = [
            dict(type='file', path=path, size=len(data), oid=hashlib.sha1(data).hexdigest(),
                 **dict(lfs=dict(oid=repo.etag(path), size=len(data), pointerSize=130)) if len(data) > LARGE else {})
            for path, data in repo.files.items()]
        self.send(200, json.dumps(told).encode(), Content_Type='application/json')

    def file(self, name: str, repo: Repo, path: str, verb: str):
        "A file: a small one at once, a large one after a redirection."
        commit = dict(X_Repo_Commit=repo.sha)
        if repo.gated: return self.refuse(403, 'GatedRepo', **commit)
        if path not in repo.files: return self.refuse(404, 'EntryNotFound', **commit)
        data, etag = repo.files[path], f'"{repo.etag(path)}"'
        if verb == 'resolve' and len(data) > LARGE:
            return self.send(302, Location=f'/large/{name}/{path}', X_Linked_Etag=etag, X_Linked_Size=str(len(data)), **commit)
        if self.command == 'GET': repo.asked.append(path)
        self.send(200, data, ETag=etag, Content_Type='application/octet-stream', **commit)

def reserve() -> socket.socket:
    "A port of 127.0.0.1 that nobody answers at, until `serve` does."
    taken = socket.socket()
    taken.bind(('127.0.0.1', 0))
    return taken

def serve(port: socket.socket) -> Hub:
    "Answer at the port, for as long as this process lives."
    server = ThreadingHTTPServer(port.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket, server.hub, server.daemon_threads = port, Hub(), True
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.hub
