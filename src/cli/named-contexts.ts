import { resolve } from "node:path";
import { digestInIndex } from "./build-outputs.ts";
import { CommandFailure } from "./usage-error.ts";

/** The contexts of `--build-context NAME=…`: folders and layouts are lent by name; everything else the engine gets itself. */
export function namedContexts(texts: readonly string[]): {
  folders: Record<string, string>;
  others: string | undefined;
  layouts: Record<string, string>;
} {
  const layouts: Record<string, string> = {};
  const pairs = texts.map((text) => {
    const [, name = text, value = ""] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    const isFolder = !/^(docker-image|https?|git|ssh|oci-layout|target):|^git@/.test(value);
    return { name, value, isFolder };
  });
  const entries = pairs.map(({ name, value, isFolder }) => [
    name,
    isFolder ? `local:${name}` : (lendLayout(value, layouts) ?? value),
  ]);
  return {
    folders: Object.fromEntries(
      pairs.filter(({ isFolder }) => isFolder).map(({ name, value }) => [name, resolve(value)]),
    ),
    layouts,
    others: texts.length === 0 ? undefined : JSON.stringify(Object.fromEntries(entries)),
  };
}

/** `oci-layout://FOLDER[:tag][@digest]`: lends the folder by a name, and answers the image as the engine asks for it. */
function lendLayout(text: string, layouts: Record<string, string>): string | undefined {
  const [, path, tag = "latest", digest] = /^oci-layout:\/\/([^@:]+)(?::([^@]+))?(?:@(.+))?$/.exec(text) ?? [];
  if (path === undefined) return undefined;
  const folder = resolve(path);
  const found = digest ?? digestInIndex(folder, tag);
  if (found === undefined)
    throw new CommandFailure(`"${text}": the layout "${folder}" has no image with the tag "${tag}"`);
  const store = `layout-${Object.keys(layouts).length}`;
  layouts[`oci:${store}`] = folder;
  return `oci-layout://${store}:${tag}@${found}`;
}
