// Makes unixfs-v1-2025.json with an implementation of IPIP-0499 that shares no code with ours.
// Run it outside this checkout, with Node 20 or newer:
//
//	mkdir /tmp/vectors && cp unixfs-vectors.mjs /tmp/vectors && cd /tmp/vectors
//	npm install ipfs-unixfs-importer@17.1.1
//	node unixfs-vectors.mjs > unixfs-v1-2025.json
//
// A vector's input is a stream of 32-bit words, little-endian: word j is
// (j * 2654435761 mod 2^32) xor (j >> 11), cut to `size` bytes. No two
// chunks of these files are alike, so a chunk in the wrong place changes the root.
import { importer } from 'ipfs-unixfs-importer'

const MiB = 1 << 20
const sizes = [0, 1, 1000, MiB - 1, MiB, MiB + 1, 2 * MiB, 5 * MiB + 12345, 1024 * MiB, 1024 * MiB + 1, 1025 * MiB]

function * input (size) {
  let word = 0
  for (let at = 0; at < size; at += MiB) {
    const block = new Uint8Array(MiB)
    const view = new DataView(block.buffer)
    for (let i = 0; i < MiB; i += 4, word++) {
      view.setUint32(i, (Math.imul(word, 2654435761) ^ (word >>> 11)) >>> 0, true)
    }
    yield block.subarray(0, Math.min(MiB, size - at))
  }
}

async function root (size) {
  const nodes = []
  const blockstore = {
    put (cid, block) {
      if (cid.code === 0x70) nodes.push(cid.toString())
      return cid
    }
  }
  for await (const entry of importer([{ path: 'f', content: input(size) }], blockstore, { profile: 'unixfs-v1-2025' })) {
    return { size, root: entry.cid.toString(), nodes: nodes.length }
  }
}

const vectors = []
for (const size of sizes) vectors.push(await root(size))
console.log(JSON.stringify({
  profile: 'unixfs-v1-2025 (IPIP-0499)',
  madeBy: 'ipfs-unixfs-importer 17.1.1 (npm), unixfs-vectors.mjs',
  input: '32-bit little-endian words, word j = (j * 2654435761 mod 2^32) xor (j >> 11), cut to size bytes',
  vectors
}, null, 2))
