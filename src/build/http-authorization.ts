import { EngineError } from "../common/index.ts";

/** What the client says of an id; undefined: it has none. */
export type SecretLookup = (id: string) => Promise<Uint8Array | undefined>;

/**
 * What the client's secrets say of a URL's host, in BuildKit's names: `HTTP_AUTH_HEADER_<host>` is the header's value,
 * `HTTP_AUTH_TOKEN_<host>` a bearer token. Undefined: nothing.
 */
export async function httpAuthorization(url: string, secret: SecretLookup): Promise<string | undefined> {
  if (!URL.canParse(url)) return undefined;
  const { hostname } = new URL(url);
  const header = await headerSecret(`HTTP_AUTH_HEADER_${hostname}`, secret);
  if (header !== undefined) return header;
  const token = await headerSecret(`HTTP_AUTH_TOKEN_${hostname}`, secret);
  return token === undefined ? undefined : `Bearer ${token}`;
}

/** A secret that goes into a header, without space around it. Throws `invalidArgument` for one of several lines. */
export async function headerSecret(name: string, secret: SecretLookup): Promise<string | undefined> {
  const value = await secret(name);
  if (value === undefined) return undefined;
  const text = Buffer.from(value).toString("utf8").trim();
  if (/[\r\n\0]/.test(text)) throw new EngineError("invalidArgument", `The secret "${name}" has several lines`);
  return text;
}
