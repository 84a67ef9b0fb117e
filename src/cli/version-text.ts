/** The client's version: package.json's, which a test compares. */
export const vitrineVersion = "0.1.0";

/** What `vitrine --version` prints. */
export function versionLine(): string {
  return `Vitrine version ${vitrineVersion}`;
}
