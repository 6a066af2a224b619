// The one include of node-addon-api, so that every file of the addon sees the same settings whatever the build passes.
#pragma once

#ifndef NAPI_VERSION
#define NAPI_VERSION 9
#endif
// Any C++ exception that guard() of errors.hpp did not meet still becomes a JavaScript error, never a terminate().
#ifndef NODE_ADDON_API_CPP_EXCEPTIONS_ALL
#define NODE_ADDON_API_CPP_EXCEPTIONS_ALL
#endif
#if !defined(NODE_ADDON_API_CPP_EXCEPTIONS) && !defined(NAPI_CPP_EXCEPTIONS)
#define NODE_ADDON_API_CPP_EXCEPTIONS
#endif
#ifndef NODE_ADDON_API_DISABLE_DEPRECATED
#define NODE_ADDON_API_DISABLE_DEPRECATED
#endif
// In a worker that is being terminated nothing can be thrown any more; without this node-addon-api makes that fatal.
#ifndef NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#endif

#include <napi.h>
