// Seeded choice for workloads. Not for sampling of tokens, which is native.

/** Numbers in [0, 1), the same for the same key on every machine. Mixing as in splitmix32 (32-bit variant of Steele et al. 2014). */
export function createRandom(seed: number, stream = 0): () => number {
  const mix = (value: number): number => {
    let z = value >>> 0;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let state = (mix(seed) + mix(stream + 0x9e3779b9)) >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    return mix(state) / 2 ** 32;
  };
}

/** 0 .. count - 1 in a random order, drawn lazily: the first k are a choice without repetition. */
export function* shuffled(count: number, random: () => number): Generator<number, void, undefined> {
  const rest = Array.from({ length: count }, (_, i) => i);
  while (rest.length > 0) {
    const at = Math.floor(random() * rest.length);
    const last = rest.pop() ?? 0;
    if (at === rest.length) {
      yield last;
    } else {
      yield rest[at] ?? 0;
      rest[at] = last;
    }
  }
}
