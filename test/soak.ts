/** How long the long tests are: `npm run test:soak` runs them whole, `npm test` a smaller form of them. */
export const isSoak = process.env.SOAK !== undefined;

/** Why a test is skipped that `npm test` has not got the time for; false in the soak. */
export const inSoak = !isSoak && "a part of npm run test:soak";

/** A number of queries or rows. */
export function scaled(whole: number, small: number): number {
  return isSoak ? whole : small;
}
