/** How long the long tests are: `npm run test:soak` runs them whole, `npm test` a smaller form of them. */
export const isSoak = process.env.SOAK !== undefined;

/** A number of queries or rows. */
export function scaled(whole: number, small: number): number {
  return isSoak ? whole : small;
}
