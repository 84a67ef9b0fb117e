/** A word for bash: as it is when it is harmless, else in single quotes. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A path inside the new root, as a word: `"$root"/dev/null`. */
export function inRoot(path: string, root: string): string {
  const below = path.startsWith(`${root}/`) ? path.slice(root.length) : path === root ? "/" : path;
  return below === "/" ? '"$root"' : `"$root"${quote(below)}`;
}
