export const minimumApiVersion = "1.24";
export const apiVersion = "1.51";

/** Negative when `left` is the older: `1.9` is older than `1.24`. */
export function compareVersions(left: string, right: string): number {
  const [leftMajor = 0, leftMinor = 0] = left.split(".").map(Number);
  const [rightMajor = 0, rightMinor = 0] = right.split(".").map(Number);
  return leftMajor - rightMajor || leftMinor - rightMinor;
}
