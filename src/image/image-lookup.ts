import { EngineError, shortId } from "../common/index.ts";
import {
  familiarString,
  isDigest,
  parseReference,
  repositoryName,
  withDefaultTag,
  type Reference,
} from "../spec/index.ts";
import type { ImageRecord } from "./image-record.ts";
import type { ImageTable } from "./image-table.ts";

/** As `findImage`; throws notFound with Docker's words. */
export function getImage(table: ImageTable, text: string): ImageRecord {
  const image = findImage(table, text);
  if (image) return image;
  throw new EngineError("notFound", `No such image: ${displayName(text)}`);
}

/** A reference wins over an id prefix, as in Docker: an image may be called `cafe`. */
export function findImage(table: ImageTable, text: string): ImageRecord | undefined {
  const id = fullId(text);
  if (id !== undefined) return table.byId(id);
  const prefix = idPrefix(text);
  const reference = prefix?.explicit ? undefined : parseReference(text);
  const named = reference && imageOfReference(table, reference);
  if (named !== undefined) return table.byId(named);
  if (prefix === undefined) return undefined;
  const [first, second] = table.idsByPrefix(prefix.hex);
  if (first !== undefined && second !== undefined) {
    const both = `${shortId(first)} and ${shortId(second)}`;
    throw new EngineError("invalidArgument", `The image id prefix "${text}" is ambiguous: ${both} both begin with it`);
  }
  return first === undefined ? undefined : table.byId(first);
}

/** The image that a tag or digest names, if any; a reference with neither means `latest`. */
export function imageOfReference(table: ImageTable, reference: Reference): string | undefined {
  const repository = repositoryName(reference);
  if (reference.digest !== undefined) return table.imageOfDigest(repository, reference.digest);
  return table.imageOfTag(repository, withDefaultTag(reference).tag ?? "");
}

/** Whether the text means this image by its id, and not by a name. */
export function isIdPrefixOf(id: string, text: string): boolean {
  return id.startsWith(text) || id.slice("sha256:".length).startsWith(text);
}

function fullId(text: string): string | undefined {
  if (isDigest(text)) return text;
  return /^[0-9a-f]{64}$/.test(text) ? `sha256:${text}` : undefined;
}

function idPrefix(text: string): { hex: string; explicit: boolean } | undefined {
  const match = /^(sha256:)?([0-9a-f]{1,63})$/.exec(text);
  return match ? { hex: match[2] ?? "", explicit: match[1] !== undefined } : undefined;
}

function displayName(text: string): string {
  return fullId(text) ?? (text.startsWith("sha256:") ? text : familiarString(withDefaultTag(parseReference(text))));
}
