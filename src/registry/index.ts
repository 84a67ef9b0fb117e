export {
  acceptedManifests,
  choosePlatform,
  hostPlatform,
  maxManifestBytes,
  parseArtifact,
  parseManifest,
  parsePlatform,
  platformText,
  type ParsedArtifact,
  type ParsedManifest,
} from "./client-manifest.ts";
export { isForeignLayer, requireForeignAllowed } from "./client-foreign.ts";
export { checkCredentials, RepositoryClient } from "./client-repository.ts";
export { searchRegistry, type SearchResult } from "./client-search.ts";
export {
  checkInsecureRegistry,
  checkRegistryMirror,
  defaultRegistrySettings,
  type Credentials,
  type RegistrySettings,
} from "./client-settings.ts";
export { FileAccess, type AccessFiles, type AccessPolicy, type RegistryAction } from "./server-access.ts";
export type { CollectionReport } from "./server-collection.ts";
export { defaultRegistryLimits, type RegistryLimits, type RegistryServerOptions } from "./server-options.ts";
export { readRetention, retireNow, type Retired, type RetentionRule } from "./server-retention.ts";
export { serveRegistry, type RegistryServer } from "./server-serve.ts";
export { verifyRegistry, type VerifyReport } from "./server-verify.ts";
export { readWebhooks, type WebhookSettings } from "./server-webhook-settings.ts";
export type { UpstreamOptions } from "./server-upstream.ts";
export type { ByteRange, RegistryStorage } from "./storage-contract.ts";
export { FolderStorage } from "./storage-folder.ts";
export { S3Storage, type S3Place } from "./storage-s3.ts";
