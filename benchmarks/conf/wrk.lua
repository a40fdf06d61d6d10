-- wrk.lua: send the keys of a file in turn, and print the figures as one line of JSON.
--
-- wrk -s wrk.lua URL -- keys-file keep|close BYTES
-- With BYTES above 0 every request is a POST with a body of that size. Requests are prepared whole, one a
-- key: many keys and a large body do not go together. With one key wrk repeats one prepared request; with more, each request names the next key.
local requests, at = {}, 0

function init(args)
  if args[2] == "close" then wrk.headers["Connection"] = "close" end
  if args[3] ~= "0" then wrk.method, wrk.body = "POST", string.rep("x", args[3]) end
  for key in io.lines(args[1]) do
    wrk.headers["X-API-Key"] = key
    requests[#requests + 1] = wrk.format()
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
