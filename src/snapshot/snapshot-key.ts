/** So that a mount's options, which hold the key twice, keep room for their layers (`overlay2-layout.ts`). */
export const keyLimitBytes = 64;
const keyPattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** A snapshot's key names its directory, and `<key>-init` another. */
export function isKey(key: string): boolean {
  return keyPattern.test(key) && key.length <= keyLimitBytes && !key.endsWith("-init");
}
