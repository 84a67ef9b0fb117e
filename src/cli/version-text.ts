import packageJson from "../../package.json" with { type: "json" };

export const vitrineVersion: string = packageJson.version;

/** What `vitrine --version` prints. */
export function versionLine(): string {
  return `Vitrine version ${vitrineVersion}`;
}
