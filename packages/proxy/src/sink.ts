// Which audit sink this proxy has: a folder, or a bucket with a spool volume before it.
import { openSegments, whoAmI } from "@sallyport/aws/sink";
import type { AuditSink, Clock } from "@sallyport/core/ports";
import { openFolderSink } from "./folder.ts";
import type { Log } from "./log.ts";
import type { Settings } from "./settings.ts";
import { openVolumeSink } from "./volume.ts";

/** @throws Failure `unavailable` when STS does not say who this is; an Error when a folder can't be made */
export const openSink = async (of: {
  readonly proxy: string;
  readonly settings: Pick<Settings, "audit" | "auditBytes">;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<AuditSink> => {
  const { proxy, clock, log } = of;
  const { audit, auditBytes: bytes } = of.settings;
  if ("folder" in audit) return openFolderSink({ folder: audit.folder, proxy, clock, bytes });
  const { bucket, spool: folder, spoolBytes: volumeBytes } = audit;
  const segments = openSegments({ bucket, userId: await whoAmI() });
  return openVolumeSink({ folder, proxy, segments, clock, log, bytes, volumeBytes });
};
