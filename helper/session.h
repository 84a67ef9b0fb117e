// Descriptors of an exec helper, as its monitor arranges them.
#pragma once

#define SESSION_PLAN_FD 3
#define SESSION_CONTROL_FD 4
#define SESSION_INIT_FD 5
