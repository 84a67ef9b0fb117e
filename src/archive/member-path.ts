import { tarError } from "./tar-header.ts";

/**
 * Where an archive's name lies below the place it is unpacked to: no leading slash, no `.`, no `..`; "" is the place itself.
 * An absolute name counts from that place, as in tar(1). Throws `invalidArgument` for a name that leaves it.
 */
export function memberPath(name: string): string {
  if (name.includes("\0")) throw tarError(`the name ${JSON.stringify(name)} holds a NUL byte`);
  if (!name.includes("//") && !/(^|\/)\.{0,2}(\/|$)/.test(name)) return name;
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined)
      throw tarError(`the name "${name}" leaves the directory that it is unpacked to`);
  }
  return parts.join("/");
}

/** The directory and the base name of a member path. */
export function splitPath(path: string): { parent: string; base: string } {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? { parent: "", base: path } : { parent: path.slice(0, slash), base: path.slice(slash + 1) };
}

/** `a/b` for `a` and `b`; "" is the root. */
export function joinPath(parent: string, child: string): string {
  if (parent === "") return child;
  return child === "" ? parent : `${parent}/${child}`;
}
