/* Levels of REMORA_LOG. Messages begin with "remora: ". */
#ifndef REMORA_LOG_H
#define REMORA_LOG_H

enum log_level { LOG_OFF,
	             LOG_ERROR,
	             LOG_WARN /* default */,
	             LOG_INFO,
	             LOG_DEBUG };

#endif
