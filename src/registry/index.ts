export {
  acceptedManifests,
  choosePlatform,
  hostPlatform,
  parseManifest,
  parsePlatform,
  platformText,
  type ParsedManifest,
} from "./client-manifest.ts";
export { checkCredentials, RepositoryClient } from "./client-repository.ts";
export {
  checkInsecureRegistry,
  defaultRegistrySettings,
  type Credentials,
  type RegistrySettings,
} from "./client-settings.ts";
