// What the heavy models run by: WebGPU where the browser lends a graphics card, WASM otherwise.

// The engine for a browser's `navigator.gpu`. An adapter that is software itself is slower than WASM.
export async function engineFor(gpu) {
  try {
    const adapter = await gpu.requestAdapter();
    return adapter.info?.isFallbackAdapter ? 'wasm' : 'webgpu';
  } catch { return 'wasm'; }        // no such thing, no adapter, or a browser that says no
}

// A graph that `device.by` runs; whoever runs it does not notice that WebGPU fails, since WASM does it again. After its first
// failure no graph goes back to WebGPU: onnxruntime-web would wait for ever for a device that is lost.
export async function openGraph(create, device) {
  let session = null, by = null;
  const attempt = async work => {
    try {
      if (by !== device.by) { session = await create(device.by); by = device.by; }
      return await work(session);
    } catch (error) {
      if (device.by === 'wasm') throw error;
      device.by = 'wasm';
      return attempt(work);
    }
  };
  await attempt(() => {});
  return { run: feeds => attempt(opened => opened.run(feeds)) };
}
