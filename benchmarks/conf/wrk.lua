-- wrk.lua: send the keys of a file in turn, and print the figures as one line of JSON.
--
-- wrk -s wrk.lua URL -- keys-file keep|close
-- With one key wrk repeats one prepared request; with more, each request names the next key.
local requests, at = {}, 0

function init(args)
  if args[2] == "close" then wrk.headers["Connection"] = "close" end
  for key in io.lines(args[1]) do
    wrk.headers["X-API-Key"] = key
    requests[#requests + 1] = wrk.format("GET")
  end
  if #requests > 1 then
    request = function()
      at = at % #requests + 1
      return requests[at]
    end
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nFIGURES {"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
