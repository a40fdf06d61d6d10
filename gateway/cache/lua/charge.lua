-- charge.lua: spend one request's cost on every limit at once, or on none of them.
--
-- KEYS[1] usage    hash    v account version, e history it belongs to, t highest now_ms of any write,
--                          s sequence number, r:... "at_ms|debt", q:... "window_starts_at|used",
--                          p:... what the q:... of that name held when its window ended
-- KEYS[2] account  string  the account as JSON; read only if the caller's version is not current
-- ARGV[1] version the caller decided on; '' = no account stands behind these limits
-- ARGV[2] now_ms, 0 = the server's own clock
-- ARGV[3] usage expires this many ms after the charge; 0 = leave its expiry alone
-- then six per claim:
--   'r' field cost units window_ms burst       a rate:  debt is in units * window_ms
--   'q' field cost limit starts_at ends_at     a quota: Unix seconds, end exclusive
--
-- Returns {1, now_ms, state...} charged      {0, now_ms, state...} refused
--         {2, now_ms, version, account} the account has changed
--         {3, now_ms} no account that can be believed    {4, now_ms} a quota's window does not contain now
--   with three numbers per claim, as after the decision: remaining, reset_ms, 1 if it allowed.
--
-- Laws. A refusal writes nothing, not even t. A charge of nothing (no claims, or all of cost 0)
-- writes nothing either, and is refused all the same where a limit is overdrawn. Time is never
-- behind t, while t is ahead of the clock by no more than the clocks of two servers may differ. A t
-- further ahead was written by a clock that was wrong: then t and the instants of the claimed rates
-- move to the clock's time, also by a refusal, and debts stay, so that a bucket refills from now on;
-- over any stretch of time that passes, a rate still admits its burst and what it gains, at most.
-- Every number stays an exact integer: products are below 2^53 by the caller's check,
-- and are compared by subtraction, so that no sum exceeds it; a quotient of integers below it
-- rounds to an integer only if it is one, so floor and ceil are exact. A rate gains `units` per window:
-- debt = max(0, debt - (now - at) * units), allowed iff debt + cost * window <= burst * window.
-- A quota whose stored window starts later than the claimed one (the account was moved back to
-- earlier dates) keeps counting in the stored one: the count never restarts. The first charge of a
-- later window moves the count before to p, where settlement finds what it had not read yet: one
-- window per quota is kept, so what is counted is settled unless no settlement works for a whole window.
-- The server gives its data a new replication id whenever it may have become older: when it starts,
-- and when a replica is promoted. Usage with another id than the server's is not believed: it
-- counts as not here, until publish.lua has held it against the ledger.
--
-- Cluster: both keys share the {customer} tag.   Cost: O(claims): one HMGET, one HSET if charged.
local TOLERANCE_MS = 5000 -- keyspace.CLOCK_TOLERANCE_MS
local floor, ceil, find, sub, format = math.floor, math.ceil, string.find, string.sub, string.format

local function history() -- of the server's data; '' if it does not tell
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end

local function pair(value) -- "a|b" -> a, b
  local bar = find(value, '|', 1, true)
  return tonumber(sub(value, 1, bar - 1)), tonumber(sub(value, bar + 1))
end

local count = (#ARGV - 3) / 6
local names = {'v', 't', 's', 'e'}
for i = 1, count do names[4 + i] = ARGV[6 * i - 1] end
local stored = redis.call('HMGET', KEYS[1], unpack(names))

local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end
local seen = tonumber(stored[2] or 0)
local was_ahead = seen > now + TOLERANCE_MS
if not was_ahead and seen > now then now = seen end

if ARGV[1] ~= '' then
  if not stored[1] or stored[4] ~= history() then return {3, now} end
  if stored[1] ~= ARGV[1] then
    local account = redis.call('GET', KEYS[2])
    if not account then return {3, now} end
    return {2, now, tonumber(stored[1]), account}
  end
end

-- Per claim: room left, what it takes, and the second half of its stored value before and after.
local room, need, debt, window, ended, writes = {}, {}, {}, {}, {}, {}
local allowed, spends = true, false
for i = 1, count do
  local at = 6 * i - 2
  local value, cost = stored[4 + i], tonumber(ARGV[at + 2])
  local a, b, c = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  if ARGV[at] == 'r' then
    local owed = 0
    if value then
      local since, before = pair(value)
      if since > now then
        since = now
        writes[#writes + 1], writes[#writes + 2] = ARGV[at + 1], format('%.0f|%.0f', now, before)
      end
      owed = before - (now - since) * a
      if owed < 0 then owed = 0 end
    end
    room[i], need[i], debt[i] = c * b - owed, cost * b, owed
  else
    if now < b * 1000 or now >= c * 1000 then return {4, now} end
    local used = 0
    window[i] = b
    if value then
      local starts_at, before = pair(value)
      if starts_at >= b then window[i], used = starts_at, before else ended[i] = value end
    end
    room[i], need[i], debt[i] = a - used, cost, used
  end
  if need[i] > room[i] then allowed = false end
  if cost > 0 then spends = true end
end

local reply = {allowed and 1 or 0, now}
for i = 1, count do
  local at = 6 * i - 2
  local fits = need[i] <= room[i]
  local taken = allowed and need[i] or 0
  local left = room[i] - taken
  if left < 0 then left = 0 end
  local reset
  if ARGV[at] == 'r' then
    local units, width, burst = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
    left = floor(left / width)
    if fits then
      reset = ceil((debt[i] + taken) / units)
    elseif tonumber(ARGV[at + 2]) > burst then -- no wait is long enough
      reset = math.max(width, ceil(debt[i] / units))
    else
      reset = ceil((need[i] - room[i]) / units)
    end
  else
    reset = tonumber(ARGV[at + 5]) * 1000 - now
  end
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = left, reset, fits and 1 or 0
end

local has_charged = allowed and spends
if has_charged or (was_ahead and count > 0) then
  writes[#writes + 1], writes[#writes + 2] = 't', format('%.0f', now)
end
if has_charged then
  writes[#writes + 1], writes[#writes + 2] = 's', format('%.0f', tonumber(stored[3] or 0) + 1)
  for i = 1, count do
    if need[i] > 0 then
      local n = #writes
      writes[n + 1] = names[4 + i]
      writes[n + 2] = format('%.0f|%.0f', window[i] or now, debt[i] + need[i])
      if ended[i] then
        writes[n + 3], writes[n + 4] = 'p' .. sub(names[4 + i], 2), ended[i]
      end
    end
  end
end
if #writes > 0 then redis.call('HSET', KEYS[1], unpack(writes)) end
if has_charged and ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return reply
