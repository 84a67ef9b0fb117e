import { sha256, type SmallImage } from "./oci-layout.ts";

export const manifestType = "application/vnd.oci.image.manifest.v1+json";
export const indexType = "application/vnd.oci.image.index.v1+json";

/** A blob in two requests, POST and PUT; the last answer. */
export async function pushBlob(url: string, repository: string, bytes: Uint8Array<ArrayBuffer>): Promise<Response> {
  const begun = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  const location = new URL(begun.headers.get("Location") ?? "", url);
  location.searchParams.set("digest", sha256(bytes));
  return fetch(location, { method: "PUT", body: bytes, headers: { "Content-Type": "application/octet-stream" } });
}

export function putManifest(
  url: string,
  path: string,
  { bytes, type = manifestType }: { bytes: Uint8Array<ArrayBuffer>; type?: string },
): Promise<Response> {
  return fetch(`${url}/v2/${path}`, { method: "PUT", body: bytes, headers: { "Content-Type": type } });
}

/** Blobs, then manifest; throws unless each is taken. */
export async function pushImage(
  url: string,
  repository: string,
  { image, tag }: { image: SmallImage; tag: string },
): Promise<void> {
  for (const bytes of image.blobs.values()) await mustBe(201, await pushBlob(url, repository, bytes));
  await mustBe(201, await putManifest(url, `${repository}/manifests/${tag}`, { bytes: image.manifest }));
}

export async function mustBe(status: number, answer: Response): Promise<Response> {
  if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${await answer.text()}`);
  return answer;
}

/** As `pushImage`, by any way of sending, such as one with a login. */
export async function sendImage(
  send: (path: string, options?: RequestInit) => Promise<Response>,
  repository: string,
  { image, tag }: { image: SmallImage; tag: string },
): Promise<void> {
  for (const [digest, body] of image.blobs) {
    await mustBe(201, await send(`/v2/${repository}/blobs/uploads/?digest=${digest}`, { method: "POST", body }));
  }
  const options = { method: "PUT", body: image.manifest, headers: { "Content-Type": manifestType } };
  await mustBe(201, await send(`/v2/${repository}/manifests/${tag}`, options));
}

/** The first error code of an answer in the specification's JSON. */
export async function errorCode(answer: Response): Promise<string | undefined> {
  const { errors } = (await answer.json()) as { errors: { code: string; message: string }[] };
  return errors[0]?.code;
}
