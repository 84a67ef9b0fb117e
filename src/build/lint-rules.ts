// The checks that Docker documents (docs.docker.com/reference/build-checks), by its names and in its words.

export interface LintRule {
  readonly name: string;
  readonly description: string;
  readonly url: string;
  /** Runs only where `# check=experimental=` names it. */
  readonly experimental?: true;
}

const rule = (name: string, description: string, path: string): LintRule => ({
  name,
  description,
  url: path === "" ? "" : `https://docs.docker.com/go/dockerfile/rule/${path}/`,
});

export const lintRules = {
  stageNameCasing: rule("StageNameCasing", "Stage names should be lowercase", "stage-name-casing"),
  fromAsCasing: rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", "from-as-casing"),
  noEmptyContinuation: rule(
    "NoEmptyContinuation",
    "Empty continuation lines will become errors in a future release",
    "no-empty-continuation",
  ),
  consistentInstructionCasing: rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
    "consistent-instruction-casing",
  ),
  duplicateStageName: rule("DuplicateStageName", "Stage names should be unique", "duplicate-stage-name"),
  reservedStageName: rule(
    "ReservedStageName",
    "Reserved words should not be used as stage names",
    "reserved-stage-name",
  ),
  jsonArgsRecommended: rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    "json-args-recommended",
  ),
  maintainerDeprecated: rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    "maintainer-deprecated",
  ),
  undefinedArgInFrom: rule("UndefinedArgInFrom", "FROM command must use declared ARGs", "undefined-arg-in-from"),
  workdirRelativePath: rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    "workdir-relative-path",
  ),
  undefinedVar: rule("UndefinedVar", "Variables should be defined before their use", "undefined-var"),
  multipleInstructionsDisallowed: rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
    "multiple-instructions-disallowed",
  ),
  legacyKeyValueFormat: rule(
    "LegacyKeyValueFormat",
    "Legacy key/value format with whitespace separator should not be used",
    "legacy-key-value-format",
  ),
  invalidBaseImagePlatform: rule(
    "InvalidBaseImagePlatform",
    "Base image platform does not match expected target platform",
    "",
  ),
  redundantTargetPlatform: rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    "redundant-target-platform",
  ),
  secretsUsedInArgOrEnv: rule(
    "SecretsUsedInArgOrEnv",
    "Sensitive data should not be used in the ARG or ENV commands",
    "secrets-used-in-arg-or-env",
  ),
  invalidDefaultArgInFrom: rule(
    "InvalidDefaultArgInFrom",
    "Default value for global ARG results in an empty or invalid base image name",
    "invalid-default-arg-in-from",
  ),
  fromPlatformFlagConstDisallowed: rule(
    "FromPlatformFlagConstDisallowed",
    "FROM --platform flag should not use a constant value",
    "from-platform-flag-const-disallowed",
  ),
  copyIgnoredFile: rule(
    "CopyIgnoredFile",
    "Attempting to Copy file that is excluded by .dockerignore",
    "copy-ignored-file",
  ),
  invalidDefinitionDescription: {
    ...rule(
      "InvalidDefinitionDescription",
      "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
      "invalid-definition-description",
    ),
    experimental: true,
  },
  exposeProtoCasing: rule(
    "ExposeProtoCasing",
    "Protocol in EXPOSE instruction should be lowercase",
    "expose-proto-casing",
  ),
  exposeInvalidFormat: rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    "expose-invalid-format",
  ),
} as const satisfies Record<string, LintRule>;
