/** The size of long tests: whole in `npm run test:soak`, smaller in `npm test`. */
export const isSoak = process.env.SOAK !== undefined;

/** The reason to skip a test that is too long for `npm test`. False in the soak. */
export const inSoak = !isSoak && "a part of npm run test:soak";

/** Returns `whole` in the soak, and `small` otherwise. */
export function scaled(whole: number, small: number): number {
  return isSoak ? whole : small;
}
