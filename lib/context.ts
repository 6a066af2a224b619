import type { EngineClient } from "./client.js";
import type { ModelLimits } from "./options.js";
import type { PromptReader } from "./prompt.js";

/** What requests and sequences need of their model. */
export interface ModelContext {
  client: EngineClient;
  prompts: PromptReader;
  limits: ModelLimits & { maxModelLen: number };
}
