// Names, tags and digests by the grammar of the OCI distribution specification 1.1 and the OCI image specification.

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const namePattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const maxNameLength = 255;

export type DigestAlgorithm = "sha256" | "sha512";

export function isRepositoryName(text: string): boolean {
  return text.length <= maxNameLength && namePattern.test(text);
}

export function isRegistryTag(text: string): boolean {
  return tagPattern.test(text);
}

/** Whether it is a digest that this registry can verify: sha256 or sha512, in lower case, of the right length. */
export function isRegistryDigest(text: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text);
}

export function algorithmOf(digest: string): DigestAlgorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}
