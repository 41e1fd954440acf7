/** A client of the API server. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";

/**
 * Asks the API server.
 *
 * @param body an object, or YAML; that of a PATCH is a merge patch.
 * @throws ApiError when it refuses.
 */
export type Ask = <Answer = unknown>(method: string, path: string, body?: object | string) => Promise<Answer>;

export class ApiError extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** @param authority the file of the server's certificate, which is read when it is first asked. */
export function apiClient(port: number, token: string, authority: string): Ask {
  let agent: Agent | undefined;
  return <Answer>(method: string, path: string, body?: object | string) => {
    agent ??= new Agent({ ca: readFileSync(authority), keepAlive: true });
    const json = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const type = typeof body === "string" ? "application/yaml" : json;
    const content = typeof body === "object" ? JSON.stringify(body) : (body ?? "");
    // Without its length, Node sends what follows a DELETE as if it were the next request.
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body && { "content-type": type, "content-length": Buffer.byteLength(content) }),
    };
    return new Promise<Answer>((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port, agent, method, path, headers }, async (answer) => {
        let text = "";
        for await (const chunk of answer.setEncoding("utf8")) text += chunk;
        const status = answer.statusCode ?? 0;
        if (status >= 300) reject(new ApiError(`${method} ${path}: ${status} ${text}`, status));
        else resolve((text.startsWith("{") ? JSON.parse(text) : text) as Answer);
      });
      asked.once("error", reject);
      asked.end(content);
    });
  };
}
