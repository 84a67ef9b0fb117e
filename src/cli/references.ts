/** Splits `name[:tag]`; a digest counts to the repository, as the API's `repo` and `tag` have it. */
export function splitReference(text: string): { repository: string; tag: string | undefined } {
  if (text.includes("@")) return { repository: text, tag: undefined };
  const match = /^(.*):([^:/]+)$/.exec(text);
  return match ? { repository: match[1] ?? "", tag: match[2] } : { repository: text, tag: undefined };
}
