// The package @nats-io/nats-core for a browser without a bundler: it has CommonJS modules alone.
const loaded = new Map(), packages = new URL("./node_modules/", import.meta.url);

function load(url) {
  if (loaded.has(url)) return loaded.get(url).exports;
  const module = { exports: {} }, request = new XMLHttpRequest();
  loaded.set(url, module);
  request.open("GET", url, false);
  request.send();
  const code = new Function("module", "exports", "require", request.responseText);
  code(module, module.exports, (name) => name.startsWith(".")
    ? load(new URL(name.replace(/(\.js)?$/, ".js"), url).href)
    : name.startsWith("@") ? load(new URL(`${name}/lib/mod.js`, packages).href)
    : load(new URL(`${name}/nacl-fast.js`, packages).href));
  return module.exports;
}
export const { wsconnect } = load(new URL("@nats-io/nats-core/lib/mod.js", packages).href);
