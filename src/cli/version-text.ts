import { vitrineVersion } from "../common/index.ts";

/** What `vitrine --version` prints. */
export function versionLine(): string {
  return `Vitrine version ${vitrineVersion}`;
}
