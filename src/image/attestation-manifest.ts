// How attestations travel: as BuildKit stores them in an index, and as an OCI artifact whose subject is the image's manifest.
import { mediaTypes, type Descriptor, type Index, type Manifest, type Platform } from "../spec/index.ts";

export const attestationTypes = {
  manifest: "application/vnd.docker.attestation.manifest.v1+json",
  statement: "application/vnd.in-toto+json",
  emptyConfig: "application/vnd.oci.empty.v1+json",
} as const;

/** The config of an artifact that has none (OCI image specification 1.1, "Guidance for an Empty Descriptor"). */
export const emptyConfig = {
  bytes: new TextEncoder().encode("{}"),
  descriptor: {
    mediaType: attestationTypes.emptyConfig,
    digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    size: 2,
    data: "e30=",
  },
} as const;

export interface ManifestBytes {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A statement as a blob, and what it says. */
export interface StatementBlob {
  readonly predicateType: string;
  readonly blob: Descriptor;
}

/** The manifest of all statements about one image manifest; a registry lists it among that one's referrers. */
export function attestationManifest(subject: Descriptor, statements: readonly StatementBlob[]): ManifestBytes {
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: attestationTypes.manifest,
    config: emptyConfig.descriptor,
    layers: statements.map(({ predicateType, blob: { digest, size } }) => ({
      mediaType: attestationTypes.statement,
      digest,
      size,
      annotations: { "in-toto.io/predicate-type": predicateType },
    })),
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
  };
  return documentBytes(manifest, mediaTypes.ociManifest);
}

/** The index of an image and its attestations: `unknown/unknown` keeps runtimes from taking the latter for an image. */
export function attestedIndex(
  image: Descriptor,
  { platform, attestation }: { platform: Platform; attestation: Descriptor },
): ManifestBytes {
  const index: Index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [
      { mediaType: image.mediaType, digest: image.digest, size: image.size, platform },
      attestationEntry(attestation, image.digest),
    ],
  };
  return documentBytes(index, mediaTypes.ociIndex);
}

/** An index's entry for what is attested of a manifest in it. */
export function attestationEntry({ mediaType, digest, size }: Descriptor, image: string): Descriptor {
  return {
    mediaType,
    digest,
    size,
    annotations: { "vnd.docker.reference.digest": image, "vnd.docker.reference.type": "attestation-manifest" },
    platform: { architecture: "unknown", os: "unknown" },
  };
}

/** The digest of the manifest that an entry of an index attests; undefined for an entry of another kind. */
export function attachedTo({ annotations }: Descriptor): string | undefined {
  if (annotations?.["vnd.docker.reference.type"] !== "attestation-manifest") return undefined;
  return annotations["vnd.docker.reference.digest"];
}

/** The tag under which referrers are listed where a registry has no API for them (OCI distribution, "Referrers Tag Schema"). */
export function referrersTag(subject: string): string {
  return subject.replace(":", "-");
}

/** The list of that tag with one more entry; undefined where it is there already. */
export function withReferrer(present: Index | undefined, referrer: Descriptor): ManifestBytes | undefined {
  const manifests = present?.manifests ?? [];
  if (manifests.some(({ digest }) => digest === referrer.digest)) return undefined;
  const { mediaType, digest, size } = referrer;
  const entry = { mediaType, digest, size, artifactType: attestationTypes.manifest };
  const index: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...manifests, entry] };
  return documentBytes(index, mediaTypes.ociIndex);
}

/** A document as it travels, and its digest. */
export function documentBytes(document: object, mediaType: string): ManifestBytes {
  const bytes = Buffer.from(JSON.stringify(document, null, 2));
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  return { bytes, descriptor: { mediaType, digest, size: bytes.length } };
}
