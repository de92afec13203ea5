-- The requests of `bench/api.py`, in turn, and the figures of a run as one line of JSON.
local bodies, paths, turn = {}, {}, 0

function init(arguments)
  for index = 1, #arguments, 2 do
    paths[#paths + 1] = arguments[index]
    bodies[#bodies + 1] = arguments[index + 1]
  end
end

function request()
  turn = turn % #paths + 1
  if bodies[turn] == "" then return wrk.format("GET", paths[turn]) end
  return wrk.format("POST", paths[turn], { ["Content-Type"] = "application/json" }, bodies[turn])
end

function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    '{"requests_per_s": %.1f, "p50_ms": %.2f, "p99_ms": %.2f, "errors": %d}\n',
    1e6 * summary.requests / summary.duration, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
