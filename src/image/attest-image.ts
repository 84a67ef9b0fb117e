import { EngineError } from "../common/index.ts";
import type { ImageServices } from "./image-record.ts";
import { maxPredicateBytes } from "./push-attestations.ts";

/** See `ImageStore.attest`. */
export async function attestImage(
  { content, table }: ImageServices,
  imageId: string,
  { predicateType, predicate }: { predicateType: string; predicate: object },
): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(predicate));
  if (bytes.length > maxPredicateBytes) {
    throw new EngineError(
      "resourceExhausted",
      `The attestation "${predicateType}" is larger than ${maxPredicateBytes} bytes`,
    );
  }
  using lease = content.lease(`attest ${imageId}`);
  const blob = await content.ingestBytes(bytes, { mediaType: "application/json", lease });
  table.atomically(() => {
    if (table.has(imageId)) table.attestations.put(imageId, { predicateType, predicate: blob });
  });
}

/** See `ImageStore.attestedPredicate`. */
export function attestedPredicate(
  { content, table }: ImageServices,
  { imageId, predicateType }: { imageId: string; predicateType: string },
): object {
  const found = table.attestations.of(imageId).find((attestation) => attestation.predicateType === predicateType);
  if (!found)
    throw new EngineError("notFound", `Nothing of the type "${predicateType}" is attested of the image "${imageId}"`);
  return JSON.parse(
    Buffer.from(content.readBytes(found.predicate.digest, maxPredicateBytes)).toString("utf8"),
  ) as object;
}
