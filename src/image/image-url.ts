import { familiarName, parseReference, withDefaultTag } from "../spec/index.ts";

/** The package URL of an image's name: `pkg:docker/alpine@3.20?platform=linux%2Famd64` (package-url specification, `docker`). */
export function imageUrl(reference: string, platform?: string): string {
  const parsed = parseReference(reference);
  const { tag, digest } = parsed.digest === undefined ? withDefaultTag(parsed) : parsed;
  const qualifiers = [
    ...(digest === undefined ? [] : [`digest=${digest}`]),
    ...(platform === undefined ? [] : [`platform=${encodeURIComponent(platform)}`]),
  ];
  const name = familiarName({ domain: parsed.domain, path: parsed.path }).split("/").map(encodeURIComponent).join("/");
  const version = tag === undefined ? "" : `@${encodeURIComponent(tag)}`;
  return `pkg:docker/${name}${version}${qualifiers.length > 0 ? `?${qualifiers.join("&")}` : ""}`;
}
