/** A client of Kubernetes' API server. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";

/**
 * Sends a request to the API server.
 *
 * @param body an object, which is sent as JSON, or YAML text. With PATCH, an object is a merge patch.
 * @throws ApiError if the status is 300 or more.
 */
export type Ask = <Answer = unknown>(method: string, path: string, body?: object | string) => Promise<Answer>;

export class ApiError extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Returns a client. @param authority the file of the server's certificate. The first request reads it. */
export function apiClient(port: number, token: string, authority: string): Ask {
  let agent: Agent | undefined;
  return <Answer>(method: string, path: string, body?: object | string) => {
    agent ??= new Agent({ ca: readFileSync(authority), keepAlive: true });
    const json = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const type = typeof body === "string" ? "application/yaml" : json;
    const content = typeof body === "object" ? JSON.stringify(body) : (body ?? "");
    // Without content-length, the body of a DELETE reaches the server as the beginning of the next request.
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
