-- settle.lua: end one receipt: correct what it charged to what the call cost, once. A refund corrects to nothing.
-- Quotas only: a rate counts attempts, and nothing corrects one.
--
-- KEYS[1] usage   hash    as in charge.lua
-- KEYS[2] receipt string  marker: this receipt has ended
-- ARGV[1] seconds the marker is kept
-- then four per part of the receipt: field change starts_at most
--   its count moves by change (cost less what was charged), to 0 at least and 2^53 - 1 at most,
--   if its window is still the one that was charged. The limit is not asked: the units were used.
--   Except where most is not -1: no rise goes beyond it, and what is left of one is added to the part that
--   follows. So overage is not billed beyond its cap.
--
-- Returns {units given back, units charged more}, each summed over all quotas; {0, 0} for a receipt seen
-- before and for an account that is not here (its marker is not set then: nothing was done).
--
-- Cluster: both keys share the {customer} tag.   Cost: O(parts).
local MOST = 9007199254740991
local format, find, sub = string.format, string.find, string.sub
local count = (#ARGV - 1) / 4
local names = {'v', 's'}
for i = 1, count do names[2 + i] = ARGV[4 * i - 2] end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] then return {0, 0} end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return {0, 0} end

local given, taken, rest, writes = 0, 0, 0, {'s', format('%.0f', tonumber(stored[2] or 0) + 1)}
for i = 1, count do
  local at, value = 4 * i - 2, stored[2 + i]
  local wanted, most = ARGV[at + 1] + rest, ARGV[at + 3] + 0
  rest = 0
  if value then
    local bar = find(value, '|', 1, true)
    local window, used = sub(value, 1, bar - 1), tonumber(sub(value, bar + 1))
    local is_current = tonumber(window) == tonumber(ARGV[at + 2])
    if is_current and most >= 0 and wanted > 0 then
      local takes = math.min(wanted, math.max(0, most - used))
      wanted, rest = takes, wanted - takes
    end
    local change = math.min(math.max(wanted, -used), MOST - used)
    if is_current and change ~= 0 then
      if change < 0 then given = given - change else taken = taken + change end
      writes[#writes + 1] = ARGV[at]
      writes[#writes + 1] = window .. '|' .. format('%.0f', used + change)
    end
  end
end
if #writes > 2 then redis.call('HSET', KEYS[1], unpack(writes)) end
return {given, taken}
