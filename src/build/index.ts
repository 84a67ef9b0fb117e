export { failedStepComment } from "./failed-step.ts";
export { checkBuild, type CheckAnswer, type CheckRequest } from "./check-build.ts";
export { build, renderClassic, whyLines, type ClassicBuildRequest } from "./build.ts";
export { Builder, type BuildServices } from "./builder.ts";
export type {
  BuildLimits,
  BuildRequest,
  BuildResult,
  Entitlement,
  FrontendOptions,
  ProvenanceFacts,
  StageResult,
  StepReason,
} from "./build-request.ts";
export { cacheSource, cacheTarget, type CacheSource, type CacheTarget } from "./cache-options.ts";
export type { CachePlace } from "./cache-place.ts";
export { copyOptions, type CopyOptions } from "./copy-options.ts";
export { buildWarnings } from "./lint-build.ts";
export { lintBases, lintDockerfile, type LintOptions } from "./lint-dockerfile.ts";
export { describeCheck, lintReport, lintStatus, type LintReport, type LintResults } from "./lint-report.ts";
export type { LintResult, LintWarning } from "./lint-reporter.ts";
export { findStage, targetStage } from "./stage-names.ts";
export type { Executor, ExecutorStep, ResolveBaseOptions, StepMount } from "./executor.ts";
export { exportImage } from "./export-image.ts";
export { cacheUsage, filterUsage, pruneCache, pruneFilters, type PruneOptions } from "./prune-cache.ts";
export { defaultFrontendOptions, epochOf, frontendOptions } from "./frontend-options.ts";
export type { ExecMount, FileAction, GraphNode, Operation, OperationId } from "./operation.ts";
export { loadDockerfile } from "./load-dockerfile.ts";
export { parseModeChange, type ModeChange } from "./mode-change.ts";
export { parseDockerfile, type Dockerfile, type Stage } from "./parse-dockerfile.ts";
export type {
  BuildEvent,
  BuildStatus,
  Vertex as BuildVertex,
  VertexLog,
  VertexStatus,
  VertexWarning,
} from "./progress.ts";
export { outlineDockerfile, type BuildOutline } from "./outline-dockerfile.ts";
export { parseExposedPorts } from "./ports.ts";
export { mountOrigins, mountTarget, runMounts, type RunMount } from "./run-mounts.ts";
export { buildkitSentence } from "./step-failure.ts";
export type { StepEvent } from "./step-events.ts";
export type { BuildSession, FilesOptions, LocalTree, SshSocket } from "./session.ts";
export { expandWord, expandWords } from "./shell-words.ts";
export { HttpSource, type HttpDownload, type HttpFile } from "./http-source.ts";
export { parseGitReference, shownRemote, type GitReference } from "./git-reference.ts";
export { gitAuthorization, GitSource, type GitFound, type GitRequest } from "./git-source.ts";
export { sbomDocument, type SpdxDocument } from "./sbom-document.ts";
export { scanPackages, type SbomFinding } from "./sbom-scan.ts";
export {
  parseProvenanceOptions,
  provenancePredicate,
  type ProvenanceBuild,
  type ProvenanceOptions,
} from "./provenance-predicate.ts";
export { attestResult, type AttestedPredicate } from "./attest-result.ts";
export { exporterOptions, type ExporterOptions } from "./exporter-options.ts";
export { exportResult, openExportedTree, type Exported, type ExportRequest, type ExportSink } from "./exporter.ts";
export { RemoteSession, type ContextOrigin } from "./remote-session.ts";
export { attestOptions, type AttestOptions } from "./attest-options.ts";
