import { posix } from "node:path";

const fallbackName = "download";
const maxNameBytes = 255;

/**
 * What a downloaded file is called: by `Content-Disposition` (RFC 6266), else by the last part of the URL's path, else
 * `download`. Always a base name that may be created in a directory: no slash, no control character.
 */
export function httpFileName(url: URL, contentDisposition: string | null): string {
  const given = contentDisposition === null ? undefined : dispositionName(contentDisposition);
  return safeName(given ?? "") ?? safeName(decoded(url.pathname)) ?? fallbackName;
}

function dispositionName(header: string): string | undefined {
  const extended = /;\s*filename\*\s*=\s*(?:UTF-8|ISO-8859-1)'[^']*'([^;\s]+)/i.exec(header)?.[1];
  if (extended !== undefined) return decoded(extended);
  const quoted = /;\s*filename\s*=\s*"((?:[^"\\]|\\.)*)"/i.exec(header)?.[1];
  if (quoted !== undefined) return quoted.replaceAll(/\\(.)/g, "$1");
  return /;\s*filename\s*=\s*([^;\s"]+)/i.exec(header)?.[1];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function safeName(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed.endsWith("/")) return undefined;
  const name = posix.basename(trimmed);
  if (name === "" || name === "." || name === ".." || /\p{Cc}/u.test(name)) return undefined;
  return Buffer.byteLength(name) > maxNameBytes ? undefined : name;
}
