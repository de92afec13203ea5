// A folder of files as one tar, put together by the browser without reading the files.

const BLOCK = 512;
const encoder = new TextEncoder();

function header(path, size) {
  const block = new Uint8Array(BLOCK);
  const put = (text, at) => block.set(encoder.encode(text), at);
  let [prefix, name] = ["", path];
  if (encoder.encode(path).length > 100) {
    // the standard holds longer paths in two parts, cut at a slash
    const cut = [...path.matchAll(/\//g)].map((match) => match.index).find((at) => encoder.encode(path.slice(at + 1)).length <= 100);
    if (cut === undefined || encoder.encode(path.slice(0, cut)).length > 155) throw new Error(`${path}: its path is too long; pack the folder as a zip`);
    [prefix, name] = [path.slice(0, cut), path.slice(cut + 1)];
  }
  put(name, 0);
  put("0000644\0" + "0000000\0" + "0000000\0" + size.toString(8).padStart(11, "0") + "\0" + "00000000000\0" + "        " + "0", 100);
  put("ustar\0" + "00", 257);
  put(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return block;
}

export function pack(files) {
  const parts = [];
  for (const file of files) {
    // below the chosen folder itself
    const path = (file.webkitRelativePath || file.name).split("/").slice(1).join("/") || file.name;
    if (path.split("/").some((part) => part.startsWith("."))) continue;
    parts.push(header(path, file.size), file, new Uint8Array((BLOCK - (file.size % BLOCK)) % BLOCK));
  }
  return new Blob([...parts, new Uint8Array(2 * BLOCK)], { type: "application/x-tar" });
}
