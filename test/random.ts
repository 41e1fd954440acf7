/** Random numbers that a test can repeat. */

/** The seed of this run: SEED of the environment, or a random one. */
export const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`SEED=${seed} runs the same again`);

/** Returns a generator of numbers from 0 to 1 (Mulberry32). The same seed gives the same numbers. */
export function generator(from: number): () => number {
  let a = from;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
