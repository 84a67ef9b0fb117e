/** A new identifier: 64 lower-case hexadecimal digits (256 random bits) whose first 12 are not all decimal, as Docker's. */
export function newId(): string {
  for (;;) {
    const id = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
    // A hostname of digits only would be taken for a number by DNS software.
    if (!/^\d{12}/.test(id)) return id;
  }
}

/** The first 12 digits of an id, without a `sha256:` prefix: what people are shown. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}
